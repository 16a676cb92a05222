package probe;

import jakarta.servlet.ServletContextAttributeEvent;
import jakarta.servlet.ServletContextAttributeListener;
import jakarta.servlet.ServletContextEvent;
import jakarta.servlet.ServletContextListener;
import jakarta.servlet.ServletRequestAttributeEvent;
import jakarta.servlet.ServletRequestAttributeListener;
import jakarta.servlet.ServletRequestEvent;
import jakarta.servlet.ServletRequestListener;
import jakarta.servlet.annotation.WebListener;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import jakarta.servlet.http.HttpSessionAttributeListener;
import jakarta.servlet.http.HttpSessionBindingEvent;
import jakarta.servlet.http.HttpSessionEvent;
import jakarta.servlet.http.HttpSessionIdListener;
import jakarta.servlet.http.HttpSessionListener;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;

/** Hears everything that a listener can hear, and says what it heard of a request with an {@code id}. */
@WebListener
@WebServlet("/heard/*")
public class Heard extends Page
        implements ServletContextListener, ServletContextAttributeListener, ServletRequestListener,
                ServletRequestAttributeListener, HttpSessionListener, HttpSessionAttributeListener,
                HttpSessionIdListener {
    private static final Map<String, List<String>> HEARD = new ConcurrentHashMap<>();
    private static final ThreadLocal<String> CURRENT = new ThreadLocal<>();

    static void note(String what) {
        note(CURRENT.get(), what);
    }

    static void note(String id, String what) {
        if (id == null) {
            return;
        }
        HEARD.computeIfAbsent(id, any -> new CopyOnWriteArrayList<>()).add(what);
    }

    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        if (request.getPathInfo().equals("/all")) {
            response.getWriter().print(String.join(" ", HEARD.getOrDefault(request.getParameter("of"), List.of())));
            return;
        }
        request.setAttribute("a", 1);
        HttpSession session = request.getSession();
        session.setAttribute("b", 1);
        request.changeSessionId();
        getServletContext().setAttribute("c", 1);
        getServletContext().removeAttribute("c");
        session.invalidate();
        response.getWriter().print("made");
    }

    @Override
    public void contextInitialized(ServletContextEvent event) {
        note("context", "started");
    }

    @Override
    public void contextDestroyed(ServletContextEvent event) {
        System.out.println("heard: context ended");
    }

    @Override
    public void attributeAdded(ServletContextAttributeEvent event) {
        note("context+" + event.getName());
    }

    @Override
    public void attributeRemoved(ServletContextAttributeEvent event) {
        note("context-" + event.getName());
    }

    @Override
    public void requestInitialized(ServletRequestEvent event) {
        String query = ((HttpServletRequest) event.getServletRequest()).getQueryString();
        if (query != null && query.startsWith("id=")) {
            CURRENT.set(query.substring(3).split("&")[0]);
        }
        note("request");
    }

    @Override
    public void requestDestroyed(ServletRequestEvent event) {
        note("request-over");
        CURRENT.remove();
    }

    @Override
    public void attributeAdded(ServletRequestAttributeEvent event) {
        if (event.getName().length() == 1) {
            note("attribute+" + event.getName());
        }
    }

    @Override
    public void sessionCreated(HttpSessionEvent event) {
        note("session");
    }

    @Override
    public void sessionDestroyed(HttpSessionEvent event) {
        note("session-over");
    }

    @Override
    public void attributeAdded(HttpSessionBindingEvent event) {
        note("session+" + event.getName());
    }

    @Override
    public void sessionIdChanged(HttpSessionEvent event, String old) {
        note("session-id");
    }
}
