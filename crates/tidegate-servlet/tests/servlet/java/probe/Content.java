package probe;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;

/** Reads content in all ways, or does not. */
@WebServlet("/content/*")
public class Content extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        switch (request.getPathInfo()) {
            case "/ignore" -> response.getWriter().print("ignored");
            case "/sum" -> response.getWriter().print(sum(request.getInputStream().readAllBytes()));
            case "/some" -> {
                InputStream in = request.getInputStream();
                response.getWriter().print(new String(in.readNBytes(3), StandardCharsets.US_ASCII));
            }
            case "/bytes" -> {
                InputStream in = request.getInputStream();
                int count = 0;
                while (in.read() >= 0) {
                    count++;
                }
                response.getWriter().print(count + " " + in.read() + " " + in.available());
            }
            case "/both" -> {
                request.getInputStream().read();
                request.getReader();
            }
            case "/echo" -> {
                // Answers while it reads.
                InputStream in = request.getInputStream();
                byte[] piece = new byte[1024];
                for (int read = in.read(piece); read >= 0; read = in.read(piece)) {
                    response.getOutputStream().write(piece, 0, read);
                    response.flushBuffer();
                }
            }
            case "/refuse" -> response.sendError(413);
            default -> response.sendError(404);
        }
    }
}
